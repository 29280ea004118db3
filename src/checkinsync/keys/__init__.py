"""The encryption keys, and the stored tokens that they encrypt."""
