"""What the package costs beside other libraries: `python -m benchmarks`, or some: `python -m benchmarks metrics steps`."""
