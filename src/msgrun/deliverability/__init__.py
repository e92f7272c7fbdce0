"""What the name service (DNS) says of mail domains: recipients', senders', and of a sample.

Pure knowledge: it asks, parses and judges, and knows nothing of the doctor. The only package that
imports `dns` and `dkim`. SPF, DKIM and DMARC are judged by code of our own rather than by
checkdmarc, because time-outs must stay apart from "no record", and declared addresses be judged.
"""
