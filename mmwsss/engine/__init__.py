"""What the runner is made of besides models and data."""
