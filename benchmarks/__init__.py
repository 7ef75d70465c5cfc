"""Speed and memory as ratios against what users would pick instead, measured in one run: `make bench`."""
