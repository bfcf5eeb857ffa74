"""The console: pages for people at ``/console``, made on the server from what the API answers.

A page asks the views of the API, and acts through them alone. So it can do nothing that commands cannot, and each
request is checked for its scope where all requests are.
"""
