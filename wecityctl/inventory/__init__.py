"""What runs in a city, and what is in it: packages of images, running images, and known vulnerabilities.

Files that describe vulnerabilities are brought by the site; nothing is fetched.
"""
