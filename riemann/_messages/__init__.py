"""What is said to the user: at whose line, in which words."""
