"""TLS for raw.py, with control over each record. The first label of the SNI name chooses the
certificate, the version, or the behaviour instead of a handshake."""

import asyncio
import contextlib
import os
import re
import ssl

folder = os.environ.get("CERTIFICATES")
versions = {"tls10": ssl.TLSVersion.TLSv1, "tls11": ssl.TLSVersion.TLSv1_1,
            "tls12": ssl.TLSVersion.TLSv1_2, "tls13": ssl.TLSVersion.TLSv1_3}
# Bytes sent instead of a ServerHello.
answers = {"plain": b"HTTP/1.1 400 Bad Request\r\n\r\n", "noise": bytes(range(256)), "hangup": b"", "silence": b"",
           "requests": b"", "half": bytes.fromhex("16030300500200"), "alert": bytes.fromhex("15030300020228")}
contexts = {}
endings = {}
ended = asyncio.Condition()


def context(name):
    if name not in contexts:
        made = contexts[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.set_ciphers("ALL:@SECLEVEL=0")  # for old versions and weak keys
        if name == "anonymous":
            made.set_ciphers("aNULL:@SECLEVEL=0")
            made.maximum_version = versions["tls12"]
        certificate = name if os.path.exists(f"{folder}/{name}.key") else "good"
        made.load_cert_chain(f"{folder}/{certificate}.pem", f"{folder}/{certificate}.key")
        made.set_alpn_protocols(["h2", "http/1.1"])
        if name.startswith("keylog"):
            made.keylog_filename = f"{folder}/{name}.log"
        made.sni_callback = lambda tls, asked, _: setattr(tls, "asked", asked)
        kind, _, version = name.rpartition("-")
        if version in versions:
            made.minimum_version = made.maximum_version = versions[version]
        if kind == "mutual":
            made.verify_mode = ssl.CERT_REQUIRED
            made.load_verify_locations(f"{folder}/ca.pem")
    return contexts[name]


class Connection:
    """A TLS connection with the methods of a StreamWriter; `plain` is its StreamReader."""

    def __init__(self, reader, writer, name):
        self.reader, self.writer, self.key = reader, writer, name
        self.split, self.is_cut = name == "split", False
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context(name).wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.plain = asyncio.StreamReader()
        self.count = 0
        self.ending = None

    def __getattr__(self, name):
        return getattr(self.writer, name)

    def flush(self):
        data = self.outgoing.read()
        if self.writer.transport.is_closing() or self.is_cut:
            return
        for i in range(0, len(data), step := 1 if self.split else 1 << 16):
            self.writer.write(data[i:i + step])

    async def call(self, function, *arguments):
        while True:
            try:
                return function(*arguments)
            except ssl.SSLWantReadError:
                self.flush()
                data = await self.reader.read(1 << 16)
                if data:
                    self.incoming.write(data)
                else:
                    self.incoming.write_eof()
            finally:
                self.flush()

    async def pump(self):
        """Decrypts all bytes up to the end, and stores how it ended: close_notify, cut (without), reset, or OpenSSL's
        reason."""
        try:
            while data := await self.call(self.tls.read, 1 << 16):
                self.count += len(data)
                self.plain.feed_data(data)
            self.ending = "close_notify"
        except ssl.SSLZeroReturnError:
            self.ending = "close_notify"  # after ours
        except ssl.SSLEOFError:
            self.ending = "cut"
        except ssl.SSLError as error:
            self.ending = error.reason
        except ConnectionError:
            self.ending = "reset"
        self.plain.feed_eof()

    def write(self, data):
        while data:
            data = data[self.tls.write(data):]
            self.flush()

    def close(self):
        """Sends close_notify, then FIN."""
        with contextlib.suppress(ssl.SSLError):  # unwrap would wait for the client's close_notify.
            self.tls.unwrap()
        self.flush()
        self.cut()

    def cut(self):
        if not self.is_cut:
            self.is_cut = True
            with contextlib.suppress(OSError):
                self.writer.write_eof()


async def serve(connection, handle):
    try:
        await connection.call(connection.tls.do_handshake)
        pump = asyncio.create_task(connection.pump())
        await handle(connection.plain, connection)
        await pump
    except ssl.SSLError as error:
        connection.ending = error.reason
        connection.cut()
        await connection.reader.read()  # Unread bytes would cause a RST, which may overtake the alert.
    except ConnectionError:
        connection.ending = "reset"
    finally:
        async with ended:
            endings[connection.key] = f"{connection.count} bytes, {connection.ending}"
            ended.notify_all()


def over_tls(handle):
    async def accept(reader, writer):
        try:
            head = await reader.readexactly(5)
            hello = await reader.readexactly(int.from_bytes(head[3:], "big"))
            match = re.search(rb"([\w-]+)(\.wild)?\.localhost", hello)
            name = match[1].decode() if match else "good"
            if name not in answers:
                connection = Connection(reader, writer, name)
                connection.incoming.write(head + hello)
                return await serve(connection, handle)
            writer.write(answers[name])
            while name == "requests":  # HelloRequests, which OpenSSL skips
                writer.write((b"\x16\x03\x03\x40\x00" + bytes(1 << 14)) * 16)
                await writer.drain()
            if name in ("silence", "half"):
                await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    return accept


async def ending(key):
    """Waits for the end of the connection with that key (without a request: that name): bytes received, reason."""
    async with ended:
        await ended.wait_for(lambda: key in endings)
        return endings.pop(key)


def describe(connection):
    tls = connection.tls
    subject = (tls.getpeercert() or {}).get("subject", ((("", "none"),),))
    return {"version": tls.version(), "cipher": tls.cipher()[0], "protocol": tls.selected_alpn_protocol(),
            "name": tls.asked, "resumed": tls.session_reused, "client": subject[-1][0][1]}
