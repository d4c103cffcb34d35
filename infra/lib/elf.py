"""Says whether a built function runs on Amazon Linux 2023: its processor, and the C library that it asks for.

Usage: elf.py FILE MACHINE GLIBC_MAX. Exit 1 with the reason where it does not.
"""

import re
import sys

# e_machine of the ELF header (https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html).
MACHINES = {62: "x86_64", 183: "aarch64"}


def judge(path, machine, glibc_max):
    with open(path, "rb") as file:
        content = file.read()
    if content[:4] != b"\x7fELF":
        return "it is no ELF program"
    found = MACHINES.get(int.from_bytes(content[18:20], "little"), "another processor")
    if found != machine:
        return f"it is for {found}, not {machine}"
    # Names of symbol versions stand in the file as they are.
    wanted = {tuple(map(int, match)) for match in re.findall(rb"GLIBC_(\d+)\.(\d+)", content)}
    newest = max(wanted, default=(0, 0))
    if newest > tuple(map(int, glibc_max.split("."))):
        return f"it asks for GLIBC {newest[0]}.{newest[1]}, and there is {glibc_max}"
    print(f"{path}: {len(content)} bytes, {machine}, GLIBC {newest[0]}.{newest[1]} at most")
    return None


if __name__ == "__main__":
    reason = judge(*sys.argv[1:4])
    if reason:
        sys.exit(f"{sys.argv[1]}: {reason}")
