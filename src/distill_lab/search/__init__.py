"""Automatic search by Optuna; imported only where it is installed."""
