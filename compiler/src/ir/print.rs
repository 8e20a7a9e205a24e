//! Text form of a graph, one node per line.
