"""Terraform: the same group of GPU machines in AWS, Azure and Tencent Cloud, and what goes with it.

Modules are files of HCL that come along as they are; only what calls them and their variables are
made from the picture.
"""
