"""Source injection: a few foreign images among photos; do pictures of their kind find them?"""
