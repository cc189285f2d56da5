"""The CIFAR-MNIST task of Xie et al. (TMLR 2024): airplanes with a few handwritten zeros."""
