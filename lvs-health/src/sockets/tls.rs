//! TLS of HTTPS probes: rustls with graviola's cryptography, which needs no C compiler.

pub(super) use session::Session;

#[cfg(all(feature = "https", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod session {
    use std::io::{self, Read, Write};
    use std::net::SocketAddr;
    use std::sync::Arc;

    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::crypto::CryptoProvider;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme};

    use crate::config::{HttpProbe, TlsProbe, Trust};
    use crate::http::{Response, Share};
    use crate::outcome::{FailureKind, Outcome};

    /// The client's side of one TLS connection.
    pub(in crate::sockets) struct Session(ClientConnection);

    impl Session {
        pub(in crate::sockets) fn new(
            tls: &TlsProbe,
            http: &HttpProbe,
            target: SocketAddr,
        ) -> Result<Self, Outcome> {
            if !processor_suffices() {
                return Err(Outcome::undecided("HTTPS probes need a processor with AVX2, ADX and BMI2 here"));
            }
            let provider = Arc::new(rustls_graviola::default_provider());
            let builder = ClientConfig::builder_with_provider(provider.clone())
                .with_safe_default_protocol_versions()
                .map_err(|error| Outcome::undecided(format!("TLS cannot be used: {error}")))?;
            let mut roots = RootCertStore::empty();
            match &tls.trust {
                Trust::WebRoots => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
                Trust::Authorities(list) => {
                    for certificate in list {
                        roots.add(CertificateDer::from(certificate.as_slice())).map_err(|error| {
                            Outcome::undecided(format!(
                                "a certificate authority's certificate cannot be used: {error}"
                            ))
                        })?;
                    }
                }
                Trust::NotChecked => {}
            }
            let mut config = if tls.trust == Trust::NotChecked {
                let verifier = Arc::new(NotChecked(provider));
                builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
            } else {
                builder.with_root_certificates(roots).with_no_client_auth()
            };
            config.enable_sni = tls.send_name;
            let name = match &http.host {
                Some(host) => ServerName::try_from(host.clone()).map_err(|_| {
                    Outcome::undecided(format!("{host} is no name that a certificate can have"))
                })?,
                None => ServerName::IpAddress(target.ip().into()),
            };
            let connection = ClientConnection::new(Arc::new(config), name)
                .map_err(|error| Outcome::undecided(format!("TLS cannot be used: {error}")))?;
            Ok(Self(connection))
        }

        /// Takes bytes to be sent once the handshake is over.
        pub(in crate::sockets) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.0.writer().write_all(bytes)
        }

        /// Goes on until there is nothing to read, which is an error, or the share is over, which is `None`.
        pub(in crate::sockets) fn advance(
            &mut self,
            socket: &mut (impl Read + Write),
            response: &mut Response,
            share: &mut Share,
        ) -> io::Result<Option<Outcome>> {
            let mut buffer = [0; 16 * 1024];
            let piece = response.piece().min(buffer.len());
            let mut closed = false;
            loop {
                while !share.is_over() {
                    match self.0.reader().read(&mut buffer[..piece]) {
                        Ok(0) => return Ok(Some(response.handle_end())),
                        Ok(taken) => {
                            if let Some(outcome) = response.handle_bytes(&buffer[..taken]) {
                                return Ok(Some(outcome));
                            }
                            share.take(taken, response);
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                        // Many servers close without saying so inside TLS; a body with a length or digest shows if it was cut.
                        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                            return Ok(Some(response.handle_end()));
                        }
                        Err(error) => return Err(error),
                    }
                }
                if share.is_over() {
                    return Ok(None);
                }
                if closed {
                    let text = "the connection was closed during the TLS handshake";
                    return Ok(Some(Outcome::failure(FailureKind::Tls, text)));
                }
                while self.0.wants_write() {
                    if let Err(error) = self.0.write_tls(socket) {
                        if error.kind() == io::ErrorKind::WouldBlock {
                            break;
                        }
                        return Err(error);
                    }
                }
                // Messages of TLS itself are bytes too: there may be any number of them.
                let read = self.0.read_tls(socket)?;
                share.take(read, response);
                closed = read == 0;
                if let Err(error) = self.0.process_new_packets() {
                    // The alert tells the server why; whether it arrives is all the same.
                    let _ = self.0.write_tls(socket);
                    return Ok(Some(Outcome::failure(FailureKind::Tls, format!("TLS: {error}"))));
                }
            }
        }
    }

    /// What graviola demands of the processor; it panics where that is missing.
    fn processor_suffices() -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            is_x86_feature_detected!("aes")
                && is_x86_feature_detected!("pclmulqdq")
                && is_x86_feature_detected!("ssse3")
                && is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2")
                && is_x86_feature_detected!("adx")
        }
        #[cfg(target_arch = "aarch64")]
        {
            std::arch::is_aarch64_feature_detected!("aes")
                && std::arch::is_aarch64_feature_detected!("pmull")
                && std::arch::is_aarch64_feature_detected!("sha2")
        }
    }

    /// Believes every certificate, as it was told to. The handshake's signatures are still checked.
    #[derive(Debug)]
    struct NotChecked(Arc<CryptoProvider>);

    impl ServerCertVerifier for NotChecked {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let algorithms = &self.0.signature_verification_algorithms;
            rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let algorithms = &self.0.signature_verification_algorithms;
            rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
}

#[cfg(not(all(feature = "https", any(target_arch = "x86_64", target_arch = "aarch64"))))]
mod session {
    use std::io::{self, Read, Write};
    use std::net::SocketAddr;

    use crate::config::{HttpProbe, TlsProbe};
    use crate::http::{Response, Share};
    use crate::outcome::Outcome;

    /// There is none: no value of it can be made.
    pub(in crate::sockets) enum Session {}

    impl Session {
        pub(in crate::sockets) fn new(_: &TlsProbe, _: &HttpProbe, _: SocketAddr) -> Result<Self, Outcome> {
            Err(Outcome::undecided(
                "HTTPS probes were left out of this program, or do not exist on this processor",
            ))
        }

        pub(in crate::sockets) fn write(&mut self, _: &[u8]) -> io::Result<()> {
            match *self {}
        }

        pub(in crate::sockets) fn advance(
            &mut self,
            _: &mut (impl Read + Write),
            _: &mut Response,
            _: &mut Share,
        ) -> io::Result<Option<Outcome>> {
            match *self {}
        }
    }
}
