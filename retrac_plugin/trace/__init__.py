"""What training did, as files: which sample, at which timestep, with which noise."""
