"""The page alive, over a store: a picture is dropped, and its proponents are there in seconds."""
