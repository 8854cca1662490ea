"""TLS in front of the S3 server of the tests: python3 https.py PORT DIRECTORY

Creates a certificate authority, writes its certificate to DIRECTORY/ca.pem, and signs a certificate for 127.0.0.1.
Prints the port it listens on, and forwards everything to PORT. `cryptography` comes with moto.
"""

import datetime
import ipaddress
import socket
import ssl
import sys
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

PEM = serialization.Encoding.PEM


def certificate(name, key, issuer, issuer_key, extension):
    name, issuer = (x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, it)]) for it in (name, issuer))
    now, day = datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(days=1)
    builder = x509.CertificateBuilder(issuer, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
    return builder.add_extension(extension, critical=False).sign(issuer_key, hashes.SHA256()).public_bytes(PEM)


def passed_on(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def served(connection, context, port):
    try:
        client = context.wrap_socket(connection, server_side=True)
        server = socket.create_connection(("127.0.0.1", port))
    except OSError:
        return
    threading.Thread(target=passed_on, args=(server, client), daemon=True).start()
    passed_on(client, server)


def main(port, directory):
    authority, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    is_authority = x509.BasicConstraints(ca=True, path_length=None)
    with open(f"{directory}/ca.pem", "wb") as file:
        file.write(certificate("authority", authority, "authority", authority, is_authority))
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    with open(f"{directory}/server.pem", "wb") as file:
        file.write(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        file.write(certificate("server", key, "authority", authority, address))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{directory}/server.pem")
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=served, args=(connection, context, port), daemon=True).start()


main(int(sys.argv[1]), sys.argv[2])
