"""The numbers that the paper prints (arXiv 2404.17092 v1), in %; quoted rows are those of other papers."""

# Table 1: MNIST, eps 0.2; K: FGSM, PGD. For K=4 the text says "only 2% higher" than for K=3
TABLE1 = {1: (71.67, 27.45), 2: (72.57, 37.51), 3: (79.11, 45.86)}

# Table 2: clean, Gaussian noise, FGSM, I-FGSM, MI-FGSM, PGD, C&W
TABLE2 = {
    "svhn": {
        "Ours": (89.98, 90.88, 82.96, 89.97, 84.46, 88.35, 90.75),
        "Ours + OLS": (89.94, 91.21, 84.64, 89.14, 85.05, 90.13, 89.95),
    },
    "cifar10": {
        "Ours": (89.05, 79.05, 75.63, 70.71, 66.43, 74.16, 83.69),
        "Ours + OLS": (88.43, 80.74, 79.14, 83.80, 82.04, 83.23, 83.03),
    },
    "cifar100": {
        "Ours": (66.98, 41.05, 43.14, 42.89, 37.52, 46.04, 56.31),
        "Ours + OLS": (66.84, 43.81, 46.57, 46.74, 41.97, 48.78, 56.30),
    },
}
TABLE2_QUOTED: dict[str, dict[str, tuple[float | None, ...]]] = {
    "svhn": {"Conversion-SNN": (96.56, None, 56.66, None, None, 36.02, None)},
    "cifar10": {
        "HIRE-SNN": (87.50, None, 38.00, None, None, 9.10, None),
        "RAT-SNN": (90.74, None, 45.23, None, None, 21.16, None),
        "CARENet": (84.10, 58.70, 71.10, None, None, 70.70, 56.10),
        "HoSNN (without Adv)": (91.62, None, 72.62, 64.46, None, 54.19, None),
        "HoSNN (with Adv)": (90.30, None, 75.22, 71.21, None, 68.99, None),
    },
    "cifar100": {
        "HIRE-SNN": (65.10, None, 22.00, None, None, 7.50, None),
        "RAT-SNN": (70.89, None, 25.86, None, None, 10.38, None),
        "HoSNN (without Adv)": (70.14, None, 9.30, 1.52, None, 0.55, None),
        "HoSNN (with Adv)": (65.37, None, 27.18, 22.58, None, 18.47, None),
    },
}

# Table 3: CIFAR-10, by substitute: FGSM, PGD-5, PGD-10, PGD-20
TABLE3 = {
    "wideresnet": {"Ours": (79.86, 80.95, 78.96, 78.85), "OLS": (45.89, 35.06, 22.67, 19.48)},
    "resnet20": {"Ours": (79.99, 80.96, 79.29, 79.36), "OLS": (55.78, 43.02, 28.04, 22.10)},
}

# Table 4, eps 8/255: APGD-CE, AutoAttack, BPDA20+EOT
TABLE4 = {
    "svhn": (89.03, 90.58, 88.75),
    "cifar10": (71.03, 71.48, 69.48),
    "cifar100": (43.21, 43.07, 40.76),
}
TABLE4_QUOTED: dict[str, dict[str, tuple[float | None, ...]]] = {
    "svhn": {"Conversion-SNN": (31.04, 27.65, None)},
    "cifar10": {
        "Conversion-SNN": (51.65, 45.05, None),
        "CARENet (without Adv)": (None, 46.10, None),
        "CARENet (with Adv)": (None, 47.20, None),
    },
    "cifar100": {"Conversion-SNN": (13.26, 11.04, None)},
}

# Figure 4: time of adversarial training over that of the purifier
FIGURE4 = {"svhn": 16.65, "cifar10": 14.53, "cifar100": 17.51}

# Figure 5, the points that its text names: "Ours" under PGD, eps in 1/255
FIGURE5 = {"cifar100": {1: 59.25, 16: 44.64}, "svhn": {1: 90.09, 16: 82.14}}
