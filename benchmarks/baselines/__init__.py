"""What the measured programs are compared with."""
