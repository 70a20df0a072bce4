"""Sweeps: which jobs a line asks for, what runs them, and how they are told about."""
