# The line of the error is the third.
def give_up():
    raise ValueError("no luck")


give_up()
