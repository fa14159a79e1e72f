"""One file becomes frozen structs; every mistake is named with its line and a hint."""
