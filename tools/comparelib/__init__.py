"""Parts of `tools/compare`: the tree both sides read, the questions, the two who answer, the judge."""
