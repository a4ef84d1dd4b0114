"""The parts of the Python child; __main__.py says what each is for."""
