"""Everything beside the way of a request: state, background loops, discovery, the pages for machines and people."""
