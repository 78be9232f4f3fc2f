"""What `seq2seq evaluate` does: test sets are read, translated and judged; tables say how good."""
