"""A module of the user's own, which travels by value."""

X = "sent"


def configure(x):
    global X
    X = x


def get():
    return X


class Thing:
    pass
