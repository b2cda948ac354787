"""What the tests of the sandbox run inside it: preloaded by their zygote, never by pytest."""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import signal
import socket
import struct
import sys
import threading
import time

warmed_up = False


def warm_up():
    global warmed_up
    warmed_up = True


def echo(channel, links):
    frame = channel.receive()
    channel.send(frame.header, frame.blobs)


def echo_links(channel, links):
    for link in links:
        link.sendall(link.recv(100).upper())


def read_link(channel, links):
    """Read an open file that this child was given."""
    channel.send({"read": links[0].read().decode()})


def try_attack(channel, links):
    """Run the attack that is named, and tell what came of it."""
    order = channel.receive().header
    try:
        result = ATTACKS[order["attack"]](order)
    except (OSError, ValueError, MemoryError) as error:
        channel.send({"refused": type(error).__name__, "why": str(error)})
        return
    channel.send({"got": repr(result)})


def run_life(channel, links):
    """Live the life that is named; most of them end badly."""
    LIVES[channel.receive().header["life"]](channel)


def introduce(channel, links):
    channel.receive()
    own = lambda name: open(f"/proc/self/{name}").read()  # noqa: E731, SIM115
    fields = dict(line.split(":\t", 1) for line in own("status").splitlines() if ":\t" in line)
    channel.send(
        {
            "environment": dict(os.environ),
            "descriptors": [number for number in range(64) if _is_open(number)],
            "uid": os.getuid(),
            "capabilities": [int(fields[f"Cap{kind}"], 16) for kind in ("Eff", "Prm", "Inh")],
            "no_new_privileges": int(fields["NoNewPrivs"]),
            "seccomp": int(fields["Seccomp"]),
            "warmed_up": warmed_up,
            "arguments": sys.argv,
        }
    )


def import_lazily(channel, links):
    import xml.dom.minidom

    channel.send({"name": xml.dom.minidom.__name__})


def import_from_checkout(channel, links):
    import core.loop

    channel.send({"name": core.loop.__name__})


def start_threads(channel, links):
    found = []
    threads = [threading.Thread(target=found.append, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    channel.send({"found": sorted(found)})


def answer_then_linger(channel, links):
    channel.send({"answer": 42})
    time.sleep(3600)


def wait_for_ever(channel, links):
    channel.send({"pid": os.getpid(), "zygote": os.getppid()})
    time.sleep(3600)


def _is_open(number):
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _libc(name, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    call = getattr(libc, name)
    if name in {"syscall", "ptrace", "process_vm_readv"}:  # the others return an int
        call.restype = ctypes.c_long
    result = call(*(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{name} failed")
    return result


def _start_thread_that_reads(order):
    found = []

    def read():
        try:
            found.append(open(order["secret"]).read())  # noqa: SIM115
        except OSError:
            found.append(None)

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    if found == [None]:
        raise PermissionError("the thread was refused")
    return found


def _fork():
    if (pid := os.fork()) == 0:
        os._exit(0)
    return pid


def _thread_bomb(order):
    gate = threading.Event()
    threads = []
    try:
        for _ in range(2000):
            threads.append(threading.Thread(target=gate.wait, daemon=True))
            threads[-1].start()
    except RuntimeError as error:
        gate.set()
        raise OSError(str(error)) from error
    gate.set()
    return len(threads)


class _Iovec(ctypes.Structure):
    _fields_ = (("start", ctypes.c_void_p), ("length", ctypes.c_size_t))


def _read_memory_of(pid):
    buffer = ctypes.create_string_buffer(8)
    span = _Iovec(ctypes.addressof(buffer), 8)
    return _libc("process_vm_readv", pid, ctypes.byref(span), 1, ctypes.byref(span), 1, 0)


def _send_descriptor():
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=os.dup(3)) as copy:
        return socket.send_fds(copy, [b"x"], [2])


def _syscall(*arguments):
    return _libc("syscall", *arguments)


ATTACKS = {
    "read": lambda order: open(order["secret"]).read(),  # noqa: SIM115
    "read in a thread": _start_thread_that_reads,
    "read hostname": lambda order: open("/proc/sys/kernel/hostname").read(),  # noqa: SIM115
    "read through own root": lambda order: open("/proc/self/root" + order["secret"]).read(),  # noqa: SIM115
    "read parent environ": lambda order: open(f"/proc/{os.getppid()}/environ").read(),  # noqa: SIM115
    "read parent command line": lambda order: open(f"/proc/{os.getppid()}/cmdline").read(),  # noqa: SIM115
    "read own network table": lambda order: open("/proc/self/net/tcp").read(),  # noqa: SIM115
    "list folder": lambda order: os.listdir(os.path.dirname(order["secret"])),
    "list processes": lambda order: os.listdir("/proc"),
    "list root": lambda order: os.listdir("/"),
    "write to tmp": lambda order: open("/tmp/sandbox-attack", "w").write("x"),  # noqa: SIM115
    "write to shared memory": lambda order: open("/dev/shm/sandbox-attack", "w").write("x"),  # noqa: SIM115
    "write into packages": lambda order: open(os.__file__ + ".attack", "w").write("x"),  # noqa: SIM115
    "overwrite the interpreter": lambda order: open(os.__file__, "a").write("x"),  # noqa: SIM115
    "append to the secret": lambda order: open(order["secret"], "a").write("x"),  # noqa: SIM115
    "make a folder": lambda order: os.mkdir("/tmp/sandbox-attack"),
    "symlink": lambda order: os.symlink(order["secret"], "/tmp/sandbox-attack"),
    "hardlink": lambda order: os.link(order["secret"], "/tmp/sandbox-attack"),
    "change mode": lambda order: os.chmod(order["secret"], 0o777),
    "remove": lambda order: os.unlink(order["secret"]),
    "truncate": lambda order: os.truncate(order["secret"], 0),
    "tcp": lambda order: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
    "tcp6": lambda order: socket.socket(socket.AF_INET6, socket.SOCK_STREAM),
    "mptcp": lambda order: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262),
    "udp": lambda order: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "unix": lambda order: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
    "socketpair": lambda order: socket.socketpair(),
    "netlink": lambda order: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "vsock": lambda order: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM),
    "raw": lambda order: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1),
    "fork": lambda order: _fork(),
    "vfork": lambda order: _libc("vfork"),
    "posix_spawn": lambda order: os.posix_spawn("/bin/sh", ["sh", "-c", "true"], {}),
    "exec": lambda order: os.execv("/bin/sh", ["sh", "-c", "true"]),
    "clone a process": lambda order: _syscall(order["clone"], 17, 0, 0, 0, 0),
    "new user namespace": lambda order: _libc("unshare", 0x10000000),
    "new network namespace": lambda order: _libc("unshare", 0x40000000),
    "memfd": lambda order: os.memfd_create("attack"),
    "thread bomb": _thread_bomb,
    "kill parent": lambda order: os.kill(os.getppid(), signal.SIGKILL),
    "kill group of parent": lambda order: os.killpg(os.getppid(), signal.SIGKILL),
    "kill everybody": lambda order: os.kill(-1, signal.SIGTERM),
    "pidfd of parent": lambda order: os.pidfd_open(os.getppid()),
    "ptrace parent": lambda order: _libc("ptrace", 0x4206, os.getppid(), 0, 0),
    "read memory of parent": lambda order: _read_memory_of(os.getppid()),
    "limit the parent": lambda order: resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1)),
    "renice the parent": lambda order: os.setpriority(os.PRIO_PROCESS, os.getppid(), 19),
    "raise own limit": lambda order: resource.setrlimit(
        resource.RLIMIT_CPU, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    ),
    "become root": lambda order: os.setresuid(0, 0, 0),
    "new session": lambda order: os.setsid(),
    "outlive the parent": lambda order: _libc("prctl", 1, 0, 0, 0, 0),
    "become dumpable": lambda order: _libc("prctl", 4, 1, 0, 0, 0),
    "signals by fcntl": lambda order: __import__("fcntl").fcntl(1, 8, os.getppid()),
    "pass descriptors": lambda order: _send_descriptor(),
    "mount": lambda order: _libc("mount", b"none", b"/tmp", b"tmpfs", 0, None),
    "chroot": lambda order: os.chroot("/"),
    "io_uring": lambda order: _syscall(425, 1, ctypes.create_string_buffer(128)),
    "bpf": lambda order: _syscall(order["bpf"], 0, 0, 0),
    "userfaultfd": lambda order: _syscall(order["userfaultfd"], 0),
    "perf": lambda order: _syscall(order["perf_event_open"], 0, 0, 0, 0, 0),
    "keyctl": lambda order: _syscall(order["keyctl"], 0, -3, 0),
    "shared memory of System V": lambda order: _libc("shmget", 0, 4096, 0o1600),
    "32-bit table": lambda order: _syscall(0x40000000 + 39),
    "private memory": lambda order: len(bytearray(3 * 1024**3)),
    "shared memory": lambda order: mmap.mmap(-1, 3 * 1024**3),
}


def _endless_loop(channel):
    while True:
        pass


def _catch_everything(channel):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGXCPU):
        signal.signal(number, signal.SIG_IGN)
    while True:
        try:
            while True:
                pass
        except BaseException:  # noqa: BLE001
            continue


def _endless_c_call(channel):
    pow(3, 10**9)


def _memory_hog(channel):
    kept = []
    while True:
        kept.append(bytearray(b"x" * 1024**2))


def _shared_memory_hog(channel):
    kept = []
    while True:
        kept.append(mmap.mmap(-1, 16 * 1024**2))
        kept[-1].write(b"x" * 16 * 1024**2)


def _fork_bomb(channel):
    refused = 0
    for _ in range(1000):
        try:
            os.fork()
        except PermissionError:
            refused += 1
    channel.send({"refused": refused})


def _recursion(channel):
    _recursion(channel)


def _flood(channel):
    while True:
        os.write(2, b"flood " * 10_000)


def _print_a_lot_then_answer(channel):
    for number in range(20_000):
        print("line", number, "x" * 40)
    channel.send({"done": True})


def _raise_an_exception_that_lies(channel):
    class Lie(Exception):
        def __str__(self):
            raise KeyboardInterrupt

    raise Lie


def _raise_a_huge_message(channel):
    raise ValueError("y" * 50_000_000)


def _print_dirt(channel):
    sys.stderr.buffer.write(b"\x1b[31mred\x1b[0m \x00nul \xff\xfe \xe2\x80\xae\xed\xa0\x80 end\n")
    sys.stderr.buffer.flush()
    sys.exit(3)


def _raw(data):
    return lambda channel: (os.write(3, data), time.sleep(3600))


def _prefix(header_bytes, blobs, magic=b"RSF1"):
    return struct.pack("<4sII", magic, header_bytes, blobs)


def _framed(text, *blobs):
    sizes = struct.pack(f"<{len(blobs)}Q", *map(len, blobs))
    return _prefix(len(text), len(blobs)) + sizes + text + b"".join(blobs)


def _half_a_frame_then_exit(channel):
    os.write(3, _prefix(1000, 0) + b'{"header"')


def _two_answers(channel):
    channel.send({"number": 1})
    channel.send({"number": 2})


def _close_and_live(channel):
    channel.close()
    time.sleep(3600)


def _segfault(channel):
    ctypes.string_at(8)


LIVES = {
    "endless loop": _endless_loop,
    "catch everything": _catch_everything,
    "endless C call": _endless_c_call,
    "memory hog": _memory_hog,
    "shared memory hog": _shared_memory_hog,
    "fork bomb": _fork_bomb,
    "recursion": _recursion,
    "flood": _flood,
    "prints a lot": _print_a_lot_then_answer,
    "lying exception": _raise_an_exception_that_lies,
    "huge message": _raise_a_huge_message,
    "dirt": _print_dirt,
    "not a frame": _raw(b'{"score": 999}\n' * 10),
    "forged magic": _raw(_prefix(2, 0, magic=b"EVIL") + b"{}"),
    "4 GB header": _raw(_prefix(2**32 - 1, 0)),
    "4 billion blobs": _raw(_prefix(2, 2**32 - 1)),
    "huge blob": _raw(_prefix(30, 1) + struct.pack("<Q", 2**62)),
    "NaN": _raw(_framed(b'{"header": {"score": NaN}, "blobs": []}')),
    "infinity": _raw(_framed(b'{"header": {"score": 1e999}, "blobs": []}')),
    "deep nesting": _raw(_framed(b"[" * 500_000)),
    "no object": _raw(_framed(b"[1, 2]")),
    "short frame": _raw(_prefix(1000, 0) + b'{"header"'),
    "half a frame": _half_a_frame_then_exit,
    "two answers": _two_answers,
    "closes its channel": _close_and_live,
    "sys.exit": lambda channel: sys.exit(7),
    "os._exit(0)": lambda channel: os._exit(0),
    "os.abort": lambda channel: os.abort(),
    "segfault": _segfault,
    "kills itself": lambda channel: os.kill(os.getpid(), signal.SIGKILL),
    "returns": lambda channel: None,
}
