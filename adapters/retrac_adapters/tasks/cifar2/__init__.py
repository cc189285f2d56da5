"""CIFAR-2 with the split and the subset rule of Zheng et al. (D-TRAK, ICLR 2024), reduced."""
