"""Tests of Baseload, one folder a room of the house."""
