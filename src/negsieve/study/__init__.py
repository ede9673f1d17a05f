"""Many runs that answer one question: which method is better, and is it more than luck?"""
