"""Diffusion-TracIn and Diffusion-ReTrac for Captum, dattri and the command line."""
