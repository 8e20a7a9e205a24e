//! Connections: how they are taken, how long they may be slow, how they end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_io_timeout::TimeoutStream;

use super::state::App;

/// Bytes of a request's head.
const LONGEST_HEAD: usize = 64 << 10;

/// The pause after the system had no connection to give, for example because too many files are open.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves until the program is asked to end and every request is answered; returns how many are not, because the program
/// was asked again or they took too long.
///
/// # Errors
/// When the system does not let the program listen to signals.
pub async fn serve(listener: TcpListener, router: Router, app: Arc<App>) -> io::Result<u64> {
    let mut asked = Asked::listen()?;
    let room = Arc::new(Semaphore::new(app.settings.connections));
    let (ending, end) = watch::channel(false);
    let times = app.settings.times;
    // Never, at first.
    let mut drain_at: Option<Instant> = None;
    let mut give_up_at: Option<Instant> = None;
    let mut look_again = tokio::time::interval(Duration::from_millis(20));
    loop {
        tokio::select! {
            accepted = accept(&listener, &room) => match accepted {
                Ok((stream, permit)) => {
                    let connection = connection(stream, router.clone(), app.clone(), end.clone());
                    tokio::spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!("cannot take a connection: {error}");
                    sleep(PAUSE).await;
                }
            },
            name = asked.next() => {
                if app.health.is_leaving() {
                    tracing::warn!("{name} again: ending at once");
                    break;
                }
                tracing::info!("{name}: answering what was asked, then ending");
                app.health.leave();
                if times.drain_delay.is_zero() {
                    app.health.drain();
                    give_up_at = Some(Instant::now() + times.drain);
                } else {
                    drain_at = Some(Instant::now() + times.drain_delay);
                }
            }
            () = until(drain_at) => {
                app.health.drain();
                drain_at = None;
                give_up_at = Some(Instant::now() + times.drain);
            }
            () = until(give_up_at) => break,
            _ = look_again.tick(), if give_up_at.is_some() => {
                if app.metrics.in_flight() == 0 {
                    break;
                }
            }
        }
    }
    let unanswered = app.metrics.in_flight().try_into().unwrap_or(0);
    drop(listener);
    // Answers that are on their way still arrive.
    let _ = ending.send(true);
    drop(end);
    let _ = tokio::time::timeout(Duration::from_secs(2), ending.closed()).await;
    Ok(unanswered)
}

async fn until(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}

async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = room.clone().acquire_owned().await.expect("the semaphore is never closed");
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

async fn connection(stream: TcpStream, router: Router, app: Arc<App>, mut end: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(app.settings.times.write));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(app.settings.times.read)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    // The guard of the channel must not live on.
    let end = async { drop(end.wait_for(|end| *end).await) };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = end => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection ended: {error}");
    }
}

/// The wishes of the system or the user that the program ends.
struct Asked {
    interrupt: Signal,
    terminate: Signal,
}

impl Asked {
    fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
