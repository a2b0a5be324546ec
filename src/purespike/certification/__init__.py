"""Certificates of robustness by randomised smoothing; with a purifier as the denoiser, denoised smoothing."""

from purespike.certification.smoothed import certify
from purespike.results.certification import Certificate, Certification, CertifiedModel
from purespike.smoothing import Smoothing

__all__ = ["Certificate", "Certification", "CertifiedModel", "Smoothing", "certify"]
