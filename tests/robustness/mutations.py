"""Files changed at random as a disk, a careless hand or a stranger would change them; the same for the same seed."""

import json
import struct

import yaml

ODD = (
    *(None, True, False, -1, 0, 3, 2**31, 10**12, -(10**40), 0.5, 1e308, float("nan"), float("inf")),
    *("", "lstm", "no such thing", "a:b", "é" * 40, [], [[]], [0], {}, {"": 0}, {"class": "os:system"}),
)
DEEP = 40


def odd_value(rng):
    """A value that is seldom the right one."""
    value = ODD[rng.integers(len(ODD) + 1) - 1]
    for _ in range(DEEP * (rng.random() < 0.05)):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value


def odd_tree(tree, rng):
    """A tree of dicts and lists with one node replaced, removed, doubled or renamed."""
    places = []

    def walk(node):
        entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, value in entries:
            places.append((node, key))
            walk(value)

    root = [json.loads(json.dumps(tree))]
    walk(root)
    node, key = places[rng.integers(len(places))]
    what = rng.integers(4)
    if what == 0 and node is not root:
        del node[key]
    elif what == 1 and isinstance(node, list) and node is not root:
        node.append(node[key])
    elif what == 2 and isinstance(node, dict):
        node[f"{key}_"] = node.pop(key)
    else:
        node[key] = odd_value(rng)
    return root[0]


def odd_bytes(data, rng):
    """Bytes cut short, flipped, repeated or exchanged for others."""
    what, place = rng.integers(5), int(rng.integers(len(data) or 1))
    if what == 0:
        return data[:place]
    if what == 1:
        return data[:place] + bytes([data[place] ^ (1 << rng.integers(8))]) + data[place + 1 :] if data else b"\x00"
    if what == 2:
        return data[:place] + rng.bytes(int(rng.integers(1, 40))) + data[place:]
    if what == 3:
        return data + data[: int(rng.integers(100))]
    return rng.bytes(int(rng.integers(200)))


def odd_json(data, rng):
    """A JSON file with an odd tree."""
    return json.dumps(odd_tree(json.loads(data), rng)).encode()


def odd_yaml(data, rng):
    """A YAML file with an odd tree."""
    return yaml.safe_dump(odd_tree(yaml.safe_load(data), rng)).encode()


def odd_safetensors(data, rng):
    """A safetensors file whose header, or the tree that memagents keeps in it, is odd."""
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    own = header.get("__metadata__", {}).get("memagents")
    if own is not None and rng.random() < 0.8:
        header["__metadata__"]["memagents"] = json.dumps(odd_tree(json.loads(own), rng))
    else:
        header = odd_tree(header, rng)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def mutate(name, data, rng):
    """A file changed at random: half of the time by what it holds, half of the time by its bytes."""
    whole = {".json": odd_json, ".yaml": odd_yaml, ".safetensors": odd_safetensors}
    suffix = "." + name.rpartition(".")[2]
    return whole[suffix](data, rng) if suffix in whole and rng.random() < 0.7 else odd_bytes(data, rng)
