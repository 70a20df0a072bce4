"""A trained student at work: opened from its run's folder, asked, answering."""
