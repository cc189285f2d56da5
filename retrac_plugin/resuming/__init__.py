"""Lets a call go on where one that was killed was: finished parts, named by what decides them."""
