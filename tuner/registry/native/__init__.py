"""Formats that keep a model in the own file of its library, one module for each library."""
