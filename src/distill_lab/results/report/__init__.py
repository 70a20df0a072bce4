"""One page of a study: `distill-lab report`."""
