"""The application's own encryption of tokens, run by Node."""

from __future__ import annotations

import shutil
import subprocess

NODE = """
const crypto = require('crypto');
const [mode, given, text] = process.argv.slice(1);
const key = /^[0-9a-f]{64}$/i.test(given) ? Buffer.from(given, 'hex')
    : crypto.scryptSync(given, 'salt', 32);
if (mode === 'seal') {
    const iv = crypto.randomBytes(16);
    const cipher = crypto.createCipheriv('aes-256-gcm', key, iv);
    const body = cipher.update(text, 'utf8', 'hex') + cipher.final('hex');
    console.log([iv.toString('hex'), cipher.getAuthTag().toString('hex'), body].join(':'));
} else {
    const [iv, tag, body] = text.split(':').map(part => Buffer.from(part, 'hex'));
    const decipher = crypto.createDecipheriv('aes-256-gcm', key, iv);
    decipher.setAuthTag(tag);
    console.log(decipher.update(body, null, 'utf8') + decipher.final('utf8'));
}
"""


def node(*arguments: str) -> str:
    program = shutil.which("node")
    assert program is not None
    done = subprocess.run(
        [program, "-e", NODE, "--", *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
