"""Certificates for the TLS tests, made with the openssl command in a folder of the test.

A Kit is a CA with its revocation list; leaf() makes a key and a certificate of any kind: other names,
other dates, other purposes, other CAs, none.
"""
import os
import subprocess

from harness import check

CONF = """
[ca]
default_ca = d
[d]
database = {dir}/index.txt
serial = {dir}/serial
crlnumber = {dir}/crlnumber
new_certs_dir = {dir}
certificate = {dir}/ca.pem
private_key = {dir}/ca.key
default_md = sha256
default_days = 30
default_crl_days = 30
policy = p
unique_subject = no
copy_extensions = none
x509_extensions = leaf
[p]
commonName = supplied
[req]
distinguished_name = dn
prompt = no
[dn]
[v3_ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = CA:FALSE
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
extendedKeyUsage = {use}
{san}
"""


def openssl(*argv, text=None):
    done = subprocess.run(["openssl", *argv], input=text, capture_output=True, text=True, timeout=120,
                          check=False)
    check(done.returncode == 0, f"openssl {' '.join(argv)}: {done.stderr}")
    return done.stdout


class Kit:
    def __init__(self, folder, name="test CA"):
        self.dir = folder
        os.makedirs(folder)
        for file, text in (("index.txt", ""), ("serial", "1000\n"), ("crlnumber", "01\n")):
            with open(self.path(file), "w", encoding="ascii") as f:
                f.write(text)
        self.conf("serverAuth", "")
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-keyout", self.path("ca.key"), "-out", self.path("ca.pem"), "-days", "30", "-subj",
                f"/CN={name}", "-config", self.path("conf"), "-extensions", "v3_ca")
        self.ca = self.path("ca.pem")

    def path(self, name):
        return os.path.join(self.dir, name)

    def conf(self, use, san):
        with open(self.path("conf"), "w", encoding="ascii") as f:
            f.write(CONF.format(dir=self.dir, use=use,
                                san=f"subjectAltName = {san}" if san else ""))

    def leaf(self, name, san="DNS:localhost,IP:127.0.0.1", use="serverAuth,clientAuth",
             dates=None, self_signed=False):
        """(certificate, key); dates: (begin, end) as YYYYMMDDHHMMSSZ."""
        cert, key, request = (self.path(name + end) for end in (".pem", ".key", ".csr"))
        self.conf(use, san)
        new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key,
               "-subj", f"/CN={name}", "-config", self.path("conf")]
        if self_signed:
            openssl("req", "-x509", *new, "-out", cert, "-days", "30", "-extensions", "leaf")
        else:
            openssl("req", "-new", *new, "-out", request)
            when = ["-startdate", dates[0], "-enddate", dates[1]] if dates else []
            openssl("ca", "-batch", "-notext", "-config", self.path("conf"), "-in", request, "-out",
                    cert, *when)
        os.chmod(key, 0o600)
        return cert, key

    def revoke(self, cert):
        openssl("ca", "-config", self.path("conf"), "-revoke", cert)

    def crl(self, name="crl.pem"):
        openssl("ca", "-config", self.path("conf"), "-gencrl", "-out", self.path(name))
        return self.path(name)


def fingerprint(cert):
    """As `openssl x509 -fingerprint -sha256` prints it."""
    return "sha-256:" + openssl("x509", "-in", cert, "-noout", "-fingerprint",
                                "-sha256").strip().split("=")[1]
