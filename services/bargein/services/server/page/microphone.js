// Microphones, speakers and cameras of this machine.

const WANTED = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };

export async function openMicrophone(deviceId) {
  // Throws an `Error` whose `name` says what is wrong; `explain` has words for it.
  if (!navigator.mediaDevices?.getUserMedia) throw Object.assign(new Error("no microphone"), { name: "InsecureError" });
  const chosen = deviceId ? { ...WANTED, deviceId: { exact: deviceId } } : WANTED;
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: chosen });
  } catch (error) {
    if (error.name !== "OverconstrainedError") throw error;
    return navigator.mediaDevices.getUserMedia({ audio: WANTED }); // the chosen one has been unplugged
  }
}

export function openCamera(deviceId) {
  const chosen = deviceId ? { deviceId } : { facingMode: "user" };
  return navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480, ...chosen } });
}

export async function devices(kind) {
  // Devices with a name; browsers tell names only once a microphone has been allowed.
  const all = (await navigator.mediaDevices?.enumerateDevices?.().catch(() => [])) ?? [];
  return all.filter((each) => each.kind === kind && each.deviceId && each.deviceId !== "default" && each.label);
}

export function canChooseSpeaker() {
  return "setSinkId" in HTMLMediaElement.prototype;
}

export async function chooseSpeaker(deviceId, speaker, context) {
  // Both ways of sound: the element plays what comes over WebRTC, the context what comes over a WebSocket.
  await speaker.setSinkId?.(deviceId);
  await context?.setSinkId?.(deviceId);
}

export const REMEDIES = {
  InsecureError: {
    title: "No microphone: this browser gives none to this page. You can write.",
    remedies: ["Open the page over https, or at http://localhost, to speak."],
  },
  NotAllowedError: {
    title: "No microphone: it is not allowed. You can write.",
    remedies: [
      "To speak, allow the microphone with the icon beside the page's address.",
      "On a Mac and on Windows, the system's privacy settings must allow it as well.",
    ],
    retry: true,
  },
  NotFoundError: {
    title: "No microphone: none is connected. You can write.",
    remedies: ["To speak, connect a microphone."],
    retry: true,
  },
  NotReadableError: {
    title: "No microphone: another program uses it. You can write.",
    remedies: ["To speak, close other programs that use the microphone."],
    retry: true,
  },
};
