"""One folder per vendor of clouds: `wecityctl.model.vendors` says what a folder holds, and finds them all."""
