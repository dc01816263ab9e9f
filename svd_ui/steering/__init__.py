"""What is asked of a clip's motion, in plain numbers and pictures: camera paths, marks on the still, what moves by itself.

No torch here: the page draws its sketch from this, and the torch half (``core/steering``) makes clips from the same numbers.
"""
