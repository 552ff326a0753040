"""Other packages' objects as metrics, and metrics as theirs."""
