"""The benchmark: pocketflex and its peers on the same work in the same run; see README.md."""
