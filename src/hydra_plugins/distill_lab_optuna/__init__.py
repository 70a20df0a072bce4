"""The sweeper of `hydra/sweeper=optuna`: a search instead of every combination."""
