"""What Captum's users rely on in TracInCP, kept by both classes in both modes.

The claims are those of Captum's own tests of TracInCP, said anew, and asked with a diffusion model
and without.
"""
