"""One file for each revision. What was released is never changed: what comes next is a file of its own."""
