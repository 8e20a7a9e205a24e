// The camera: the newest frame, one request at a time.

import { Trouble } from "./server.js";

const JPEG_QUALITY = 0.85;

/** What to do when the browser gives no camera, by the name of its error. */
const REFUSED = {
  NotAllowedError: ["The camera is not allowed", "Allow it beside the address of this page, then try again."],
  NotFoundError: ["No camera was found", "Connect one, then try again; or choose a picture."],
  NotReadableError: ["The camera is in use", "Close the program that uses it, then try again."],
  OverconstrainedError: ["This camera is gone", "Choose another, or try again."],
};

export class Camera {
  #video = document.createElement("video");
  #stream = null;

  get on() {
    return this.#stream !== null;
  }

  /** Opens a camera, of which `deviceId` chooses one; returns all there are. */
  async open(deviceId) {
    if (!navigator.mediaDevices?.getUserMedia) {
      const advice = "Browsers give cameras only to pages over HTTPS or on this computer: put a TLS proxy in front, or open http://localhost.";
      throw new Trouble(0, "The camera needs a secure page", advice);
    }
    this.close();
    const wanted = { width: { ideal: 1280 }, height: { ideal: 720 } };
    const video = deviceId ? { ...wanted, deviceId: { exact: deviceId } } : { ...wanted, facingMode: "environment" };
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({ video, audio: false });
    } catch (error) {
      const [title, advice] = REFUSED[error.name] ?? ["The camera cannot be opened", "Try another, or choose a picture."];
      throw new Trouble(0, title, advice, error.message);
    }
    this.#video.muted = true;
    this.#video.playsInline = true;
    this.#video.srcObject = this.#stream;
    await this.#video.play();
    const devices = await navigator.mediaDevices.enumerateDevices();
    const current = this.#stream.getVideoTracks()[0].getSettings().deviceId;
    return { current, lenses: devices.filter((device) => device.kind === "videoinput") };
  }

  close() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = null;
    this.#video.srcObject = null;
  }

  /** The newest frame: a canvas, and the same as JPEG; nothing when the camera is gone. */
  async frame() {
    const [track] = this.#stream?.getVideoTracks() ?? [];
    if (!track || track.readyState !== "live") return null;
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [this.#video.videoWidth, this.#video.videoHeight];
    canvas.getContext("2d").drawImage(this.#video, 0, 0);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", JPEG_QUALITY));
    return blob ? { canvas, blob } : null;
  }
}
