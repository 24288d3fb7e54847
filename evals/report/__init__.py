"""A gate's decision as documents: Markdown for people, JUnit for continuous integration, JSON for machines."""
